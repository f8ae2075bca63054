"""Decentralized methods."""
