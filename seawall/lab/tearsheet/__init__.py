"""The tear sheet of a run: its figures, its drawings and its page, from what a node's journal and
tape say. The page is one HTML file that needs nothing else.
"""

from seawall.lab.tearsheet.page import page
from seawall.lab.tearsheet.sheet import Execution, Incident, Sheet, Surface, Track

__all__ = ["Execution", "Incident", "Sheet", "Surface", "Track", "page"]
