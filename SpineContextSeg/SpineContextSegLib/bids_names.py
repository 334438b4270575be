"""Names in a dataset after BIDS, and in one after VerSe, whose layout is alike."""

DESCRIPTION = "dataset_description.json"
RAW, DERIVED = "rawdata", "derivatives"
