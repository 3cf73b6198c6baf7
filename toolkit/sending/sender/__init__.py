"""The sender at work: approved mails asked about once more, handed to a way out, and counted."""
