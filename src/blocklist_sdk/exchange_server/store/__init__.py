"""The database: its tables, its transactions, and changes that share one."""
