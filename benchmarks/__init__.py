"""The comparisons that the README quotes: syncd and its peer side by side, in one run on one machine."""
