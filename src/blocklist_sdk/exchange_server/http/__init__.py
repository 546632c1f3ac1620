"""HTTP: who asks, and how; requests read and answers written. What is decided is in `casework`."""
