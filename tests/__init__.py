"""Tests of the project, the real stack that they run on, and the demo that is played on it."""
