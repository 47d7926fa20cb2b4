"""The outside world in one folder: servers, a vendor, an application. Imports nothing of ours."""
