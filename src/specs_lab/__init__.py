"""specs_lab: which cold start of a vision-language model makes the later RL with verifiable rewards best?"""

__version__ = "0.1.0"
