"""Subrow: trained CNNs to FPGA with Winograd convolution and sub-row-balanced sparsity."""

__version__ = "0.1.0"
