"""Rooms by the hour."""
