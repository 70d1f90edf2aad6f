"""The HTTP face of Milepost: submit, look, cancel; records in SQL, live state from the job log."""
