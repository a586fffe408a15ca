"""Tests of capsroute."""
