"""Reports, cases, decisions, appeals, receipts, publishing: what an exchange decides, without HTTP."""
