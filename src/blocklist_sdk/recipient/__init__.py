"""The recipient: a list on its own machine, kept up to date, asked, screened against, compared."""
