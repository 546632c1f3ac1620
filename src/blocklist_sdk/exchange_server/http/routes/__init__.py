"""The exchange's routes by subject. They read requests and write responses; `casework` decides."""
