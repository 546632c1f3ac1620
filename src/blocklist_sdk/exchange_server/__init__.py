"""The reference exchange: intake, cases, decisions, routing, publishing, receipts, appeals (extra ``exchange``)."""
