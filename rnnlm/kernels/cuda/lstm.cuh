// The equations of an LSTM unit, shared by all kernels.  The reference implementation in
// NumPy and CuPy is rnnlm/functions/lstm_window.py.  A unit's four gates are adjacent: a,
// i, f, o.
struct __align__(16) Gates {
    real a, i, f, o;
};

// Computes the gates from the four sums z.  Updates the cell state c, sets tanh_c to
// its tanh, and returns h.
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

// Computes the gradients of the four sums from gh, the total gradient of h.  Updates gc,
// the gradient of the cell state from later steps, for the previous step.
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
