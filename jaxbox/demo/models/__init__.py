"""Small detectors in Flax.

detector      cells, their targets, and how their outputs become detections
turned        cells with turned boxes
queries       queries, which a decoder refines
"""
