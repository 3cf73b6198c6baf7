"""The events room: read, clean, check and store event logs."""

from toolkit.events.log import EventLog

__all__ = ["EventLog"]
