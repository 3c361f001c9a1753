"""Floor 5: the one store of results, and its views: tables, figures, loggers."""
