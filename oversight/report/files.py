"""What a report is called."""

JSON_FILE, HTML_FILE = "report.json", "report.html"
