"""Many scans: found in a tree, segmented in processes of their own, here or on many machines, and accounted for."""

TABLE, PAGE = "report.csv", "report.html"
