"""Screening: whole columns of numbers, and files of them, against one release at one moment."""
