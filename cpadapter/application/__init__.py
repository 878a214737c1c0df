"""What an application author writes."""
