"""Customisations: attributes of instances, in the place of what their classes say."""
from tests.customisations.world import custom


@custom('model')
def forward_on_instance(w):
    forward = w.model.forward
    w.model.forward = lambda x: 2 * forward(x)


@custom('model')
def forward_on_instance_without_the_old(w):
    m = w.model
    m.forward = lambda x: m.l3(m.l2(m.l1(m.embed(x))))


@custom('trainer')
def forward_of_classifier_on_instance(w):
    forward = w.target.forward
    w.target.forward = lambda x, t: 2 * forward(x, t)


@custom('model')
def forward_of_layer_on_instance(w):
    forward = w.model.l1.forward
    w.model.l1.forward = lambda x: 2 * forward(x)


@custom('model')
def forward_of_embedding_on_instance(w):
    forward = w.model.embed.forward
    w.model.embed.forward = lambda x: 2 * forward(x)


@custom('model')
def forward_of_output_on_instance(w):
    forward = w.model.l3.forward
    w.model.l3.forward = lambda x: 2 * forward(x)


@custom('model')
def forward_of_upward_on_instance(w):
    forward = w.model.l2.upward.forward
    w.model.l2.upward.forward = lambda x: 2 * forward(x)


@custom('model')
def forward_of_lateral_on_instance(w):
    forward = w.model.l2.lateral.forward
    w.model.l2.lateral.forward = lambda x: 2 * forward(x)


@custom('model')
def reset_state_on_instance(w):
    w.model.reset_state = w.model.l1.reset_state


@custom('model')
def set_state_of_layer_on_instance(w):
    layer = w.model.l1
    reset = layer.reset_state

    def reset_state():
        reset()
        layer.resets = getattr(layer, 'resets', 0) + 1
    layer.reset_state = reset_state


@custom('target')
def cleargrads_on_instance(w):
    cleargrads, W = w.target.cleargrads, w.model.l3.W
    cleargrads()

    def kept():
        grad = W.grad
        cleargrads()
        W.grad = None if grad is None else grad / 2
    w.target.cleargrads = kept


@custom('target')
def cleargrads_of_model_on_instance(w):
    cleargrads, W = w.model.cleargrads, w.model.embed.W
    cleargrads()

    def kept():
        grad = W.grad
        cleargrads()
        W.grad = None if grad is None else grad / 2
    w.model.cleargrads = kept


@custom('target')
def cleargrad_of_parameter_on_instance(w):
    w.model.l3.b.cleargrad()
    w.model.l3.b.cleargrad = lambda: None


@custom('target')
def gradients_add_up(w):
    w.target.cleargrads()
    w.target.cleargrads = lambda: None
