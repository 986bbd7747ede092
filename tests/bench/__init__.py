"""Measurements beside other runtimes; they decide no test."""
