"""Mixed precision: float16 products, float32 sums and updates, a scaled loss."""
import chainer
import numpy

from rnnlm.kernels import computing

# Chainer's own begins at 1 and takes thousands of windows to get anywhere.
FIRST_LOSS_SCALE = 1024.0


class GradientClipping(chainer.optimizer_hooks.GradientClipping):
    """Chainer's, right for float16 and for a loss that is scaled too.

    Chainer's adds the squares in the gradients' own precision, where those of float16
    overflow, and takes the norm of scaled gradients for that of the gradients.

    Args:
        threshold (float): Largest L2 norm of the gradients.
    """

    def __call__(self, optimizer):
        grads = [param.grad for param in optimizer.target.params(False)]
        xp = optimizer.target.xp
        squares = [xp.square(g, dtype=computing(g.dtype)).sum(dtype=float)
                   for g in grads]
        norm = xp.sqrt(sum(squares)) / (optimizer._loss_scale or 1.0)
        # Without norm there is nothing to clip; on a GPU nobody waits for it.
        rate = xp.minimum(1.0, self.threshold / xp.maximum(norm, 1e-300))
        with numpy.errstate(invalid='ignore'):  # where float16 has overflowed
            for g in grads:
                g *= rate.astype(g.dtype)


def set_up_mixed(optimizer, threshold):
    """Prepares an optimizer for `chainer.mixed16`, before its first update.

    Parameters are kept in float32 beside float16, the loss is scaled, and the scale is
    found on the way.

    Args:
        optimizer: A Chainer optimizer that is set up with its target.
        threshold (float): Largest L2 norm of the gradients.
    """
    optimizer.use_fp32_update()
    optimizer.loss_scaling()
    optimizer._loss_scale = FIRST_LOSS_SCALE
    optimizer.add_hook(GradientClipping(threshold))
