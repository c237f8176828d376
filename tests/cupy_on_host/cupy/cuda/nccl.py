"""As CuPy's module is where the NCCL library is not installed."""
import warnings

available = False

warnings.warn('nccl library could not be loaded.')
