"""README's moving picture: a real run, recorded (`record`) and drawn (`draw`)."""
