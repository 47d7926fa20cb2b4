"""The only writer of audit rows: `record` within a transaction, `record_now` ahead of a release."""
