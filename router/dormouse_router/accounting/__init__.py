"""What calls used, and by whom: a line for each, and totals by day. Bounded; what is lost is counted."""
