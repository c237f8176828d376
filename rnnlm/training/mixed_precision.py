"""Mixed precision: float16 products, float32 sums and updates, loss scaling."""
import chainer
import numpy

from rnnlm.kernels import computing

# Chainer's own starts at 1 and needs thousands of windows to grow.
FIRST_LOSS_SCALE = 1024.0


class GradientClipping(chainer.optimizer_hooks.GradientClipping):
    """Gradient clipping that is also correct for float16 and a scaled loss.

    Chainer's own sums the squares in the gradients' precision, where those of float16
    overflow, and compares the norm of the scaled gradients with the threshold.

    Args:
        threshold (float): Maximum L2 norm of the gradients.
    """

    def __call__(self, optimizer):
        grads = [param.grad for param in optimizer.target.params(False)]
        xp = optimizer.target.xp
        squares = [xp.square(g, dtype=computing(g.dtype)).sum(dtype=float)
                   for g in grads]
        norm = xp.sqrt(sum(squares)) / (optimizer._loss_scale or 1.0)
        # A zero norm means nothing to clip.  No branch, so a GPU is not waited for.
        rate = xp.minimum(1.0, self.threshold / xp.maximum(norm, 1e-300))
        with numpy.errstate(invalid='ignore'):  # where float16 has overflowed
            for g in grads:
                g *= rate.astype(g.dtype)


def set_up_mixed(optimizer, threshold):
    """Prepares an optimizer for `chainer.mixed16`, before its first update.

    Adds float32 copies of the parameters, dynamic loss scaling and gradient clipping.

    Args:
        optimizer: A Chainer optimizer that is set up with its target.
        threshold (float): Maximum L2 norm of the gradients.
    """
    optimizer.use_fp32_update()
    optimizer.loss_scaling()
    optimizer._loss_scale = FIRST_LOSS_SCALE
    optimizer.add_hook(GradientClipping(threshold))
