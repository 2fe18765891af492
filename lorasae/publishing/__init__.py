"""A finished run as a repository on the Hub: its files, its card, the push, the check afterwards, and the way back."""
