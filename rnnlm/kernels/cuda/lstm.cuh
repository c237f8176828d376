// The equations of an LSTM unit, once for all kernels; rnnlm/functions/lstm_window.py
// has them in NumPy.  A unit's four gates lie side by side: a, i, f, o.
struct __align__(16) Gates {
    real a, i, f, o;
};

// From the four sums z to the gates; c becomes the new cell state, tanh_c its tanh.
// Returns h.
__device__ __forceinline__ real unit_forward(Gates z, Gates* gate, real* c, real* tanh_c)
{
    gate->a = tangent(z.a);
    gate->i = sigmoid(z.i);
    gate->f = sigmoid(z.f);
    gate->o = sigmoid(z.o);
    *c = gate->a * gate->i + gate->f * *c;
    *tanh_c = tangent(*c);
    return gate->o * *tanh_c;
}

// From gh, the whole gradient of h, to the gradients of the four sums; gc, that of the
// cell state from later steps, becomes that of the step before.
__device__ __forceinline__ Gates unit_backward(
    Gates gate, real c_before, real tanh_c, real gh, real* gc)
{
    const real g = *gc + gh * gate.o * (1 - tanh_c * tanh_c);
    Gates gz;
    gz.a = g * gate.i * (1 - gate.a * gate.a);
    gz.i = g * gate.a * gate.i * (1 - gate.i);
    gz.f = g * c_before * gate.f * (1 - gate.f);
    gz.o = gh * tanh_c * gate.o * (1 - gate.o);
    *gc = g * gate.f;
    return gz;
}
