"""What a release is: its rows, its Parquet files, its digest, the feed's index, and how releases differ."""
