"""The style of the site's drawings: sizes, fonts, shades that differ in grey too."""
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# From light to dark; on paper without colour they still differ.
SHADES = ('#f7f3e8', '#c9dcec', '#8fb3d1', '#4a7ba6')
INK = '#222222'
ACCENT = '#b3541e'


def figure(width, height):
    """A white figure of so many inches, on which nothing is drawn yet."""
    rcParams.update({'font.size': 9, 'text.color': INK, 'axes.edgecolor': INK})
    made = Figure(figsize=(width, height), dpi=110, layout='constrained')
    FigureCanvasAgg(made)
    return made
