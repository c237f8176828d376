"""All customisations, by name."""
from tests.customisations.world import CUSTOMISATIONS  # first: it imports rnnlm

from tests.customisations import (  # noqa: F401: they register themselves
    cases_config, cases_extensions, cases_hidden, cases_instances, cases_iterators,
    cases_layers, cases_models, cases_optimizers, cases_overrides, cases_parts,
    cases_patches, cases_targets, cases_ties, cases_updaters)

__all__ = ['CUSTOMISATIONS']
