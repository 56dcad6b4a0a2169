"""KronA against other implementations of the same map: PEFT's LoKr, a LoRA of equal rank, the dense product."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from petbench.adapters.methods.krona import KronAAdapter
from petbench.adapters.methods.lora import LoRAAdapter


class OneLayer(nn.Module):
    """What PEFT wraps."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.query = nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.query(x)
        return out


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_lokr_with_full_factors_is_krona(scale: float) -> None:
    """At 768 LoKr splits 24 · 32: A is 24x24, B 32x32, held as Aᵀ and Bᵀ."""
    from peft import LoKrConfig, get_peft_model

    torch.manual_seed(0)
    base = OneLayer(768)
    rank = 64  # above half of both sizes: LoKr then holds both factors in full
    config = LoKrConfig(target_modules=["query"], r=rank, alpha=scale * rank, decompose_both=False)
    wrapped: Any = get_peft_model(base, config)
    layer = wrapped.base_model.model.query
    krona = KronAAdapter(768, 768, (24, 24), scale, "normal")
    assert layer.lokr_w1["default"].shape == (24, 24)
    assert layer.lokr_w2["default"].shape == (32, 32)
    with torch.no_grad():
        layer.lokr_w1["default"].copy_(krona.A.t())
        layer.lokr_w2["default"].copy_(krona.B.t())
    x = torch.randn(2, 5, 768)
    ours = krona(x, layer.base_layer(x))
    torch.testing.assert_close(wrapped.eval()(x), ours, rtol=1e-5, atol=1e-5)


def test_a_flat_factor_is_a_lora_of_rank_4() -> None:
    """rank(A ⊗ B) = rank A · rank B = 2 · 2 for A 2x384, B 384x2: columns of A ⊗ B's factors make the LoRA."""
    torch.manual_seed(0)
    krona = KronAAdapter(768, 768, (2, 384), 2.0, "normal").double()
    with torch.no_grad():
        delta = 2.0 * torch.kron(krona.A, krona.B)
        # A = I_2 A and B = B I_2, so A ⊗ B = (I_2 ⊗ B)(A ⊗ I_2): (768, 4) times (4, 768).
        down = torch.kron(torch.eye(2, dtype=torch.float64), krona.B)
        up = torch.kron(krona.A, torch.eye(2, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(delta)) == 4
    lora = LoRAAdapter(768, 768, 4, 2.0, 0.0).double()
    with torch.no_grad():
        lora.A.copy_(down.t())
        lora.B.copy_(up.t())
    x, y = torch.randn(2, 3, 768).double(), torch.randn(2, 3, 768).double()
    torch.testing.assert_close(krona(x, y), lora(x, y), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(32, 24), (24, 32), (2, 384), (3, 256)])
def test_the_papers_shapes_equal_the_dense_product(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    krona = KronAAdapter(768, 768, shape, 1.0, "normal").double()
    x, y = torch.randn(2, 3, 768).double(), torch.randn(2, 3, 768).double()
    torch.testing.assert_close(krona(x, y), y + x @ torch.kron(krona.A, krona.B), rtol=1e-10, atol=1e-10)
