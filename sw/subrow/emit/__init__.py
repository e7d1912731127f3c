"""Quantised Graph to Program: memory, blocks, packed weights, instructions, and back to text."""
