"""Nystrom attention and position encoding, against torch's own attention, inverse and convolutions."""

import pytest
import torch
from torch.nn import functional
from torchmil.nn import NystromAttention

from ksfusion.methods.nystrom import (
    PPEG,
    NystromTransformer,
    landmarks,
    nystrom_attention,
    pseudo_inverse,
    weights_of_first,
    weights_of_patches,
)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def test_landmarks_are_means_of_runs():
    tokens = torch.tensor([1.0, 3, 5, 7, 20]).reshape(1, 1, 5, 1)
    assert landmarks(tokens, most=3).flatten().tolist() == [2, 6, 20]
    assert landmarks(tokens, most=2).flatten().tolist() == [3, 13.5]
    assert torch.equal(landmarks(tokens, most=5), tokens)


def test_pseudo_inverse_is_that_of_torch():
    matrix = (3 * draw(4, 20, 20)).softmax(dim=-1).double()
    expected = torch.linalg.pinv(matrix)
    torch.testing.assert_close(pseudo_inverse(matrix, iterations=20), expected, rtol=1e-6, atol=1e-6)
    # Six iterations, as in the source, still solve the directions that matter.
    rough = pseudo_inverse(matrix, iterations=6)
    assert (matrix @ rough @ matrix - matrix).norm() < 0.05 * matrix.norm()


def test_attention_is_exact_where_each_token_is_a_landmark():
    q, k, v = draw(3, 2, 4, 12, 8)
    attended = nystrom_attention(q, k, v, n_landmarks=12)
    torch.testing.assert_close(attended, functional.scaled_dot_product_attention(q, k, v))


def test_attention_through_landmarks_is_near_exact_where_they_are_the_tokens():
    """Each token stands twice, so that its run's mean is the token itself and the three kernels lose nothing."""
    q, k, v = (part.repeat_interleave(2, dim=2) for part in draw(3, 2, 4, 12, 8))
    attended = nystrom_attention(q, k, v, n_landmarks=12, iterations=12)
    exact = functional.scaled_dot_product_attention(q, k, v)
    assert (attended - exact).norm() < 1e-3 * exact.norm()
    six = nystrom_attention(q, k, v, n_landmarks=12)
    assert (six - exact).norm() < 0.1 * exact.norm()


def of_package(q, k, v, *, n_landmarks):
    """Attend by torchmil's code, whose layer is given queries, keys and values (B, heads, N, d) as they are."""
    heads, width = q.shape[1], q.shape[1] * q.shape[3]
    layer = NystromAttention(width, att_dim=width, n_heads=heads, n_landmarks=n_landmarks, learn_weights=False)

    def cut(padded):
        front = padded.shape[1] - q.shape[2]
        return [functional.pad(part.transpose(1, 2).flatten(2), (0, 0, front, 0)) for part in (q, k, v)]

    layer._qkv = cut
    return layer(v.transpose(1, 2).flatten(2)).unflatten(2, (heads, -1)).transpose(1, 2)


@pytest.mark.parametrize("n_landmarks", [4, 12])
def test_attention_is_that_of_a_package_where_nothing_is_padded_and_a_matrix_is_alone(n_landmarks):
    q, k, v = draw(3, 1, 1, 48, 8).double()
    attended = nystrom_attention(q, k, v, n_landmarks=n_landmarks)
    torch.testing.assert_close(attended, of_package(q, k, v, n_landmarks=n_landmarks), rtol=1e-5, atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch_as_that_of_a_package_does():
    """The pseudo-inverse of each matrix starts from its own norm, there from the largest of the batch."""
    q, k, v = 3 * draw(3, 3, 4, 48, 8).double()
    for attend, apart in ((nystrom_attention, False), (of_package, True)):
        together, alone = attend(q, k, v, n_landmarks=12)[:1], attend(q[:1], k[:1], v[:1], n_landmarks=12)
        assert torch.allclose(together, alone, rtol=1e-5, atol=1e-6) is not apart


def test_few_tokens_are_attended_exactly_where_a_package_pads_them_with_zeros():
    """Seven tokens, as of six groups of genes and the class token; 121 zeros are put before them there."""
    q, k, v = draw(3, 1, 4, 7, 8).double()
    exact = functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(nystrom_attention(q, k, v, n_landmarks=128), exact)
    assert (of_package(q, k, v, n_landmarks=128) - exact).norm() > 0.5 * exact.norm()


def test_attention_with_fewer_landmarks_approaches_the_exact_one():
    q, k, v = (0.5 * part for part in draw(3, 1, 2, 64, 8))
    exact = functional.scaled_dot_product_attention(q, k, v)
    errors = [(nystrom_attention(q, k, v, n_landmarks=m) - exact).norm() / exact.norm() for m in (4, 16, 32)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("n_landmarks", [4, 7])
def test_values_are_convolved_along_the_tokens_with_one_kernel_a_head(n_landmarks):
    q, k, v = draw(3, 2, 4, 7, 8)
    kernels = draw(4, 5)
    plain = nystrom_attention(q, k, v, n_landmarks=n_landmarks)
    attended = nystrom_attention(q, k, v, n_landmarks=n_landmarks, along=kernels)
    expected = torch.zeros_like(v)
    for token in range(7):
        for place, neighbour in enumerate(range(token - 2, token + 3)):
            if 0 <= neighbour < 7:
                expected[:, :, token] += kernels[:, place, None] * v[:, :, neighbour]
    torch.testing.assert_close(attended, plain + expected)


@pytest.mark.parametrize("n_landmarks", [4, 12])
def test_weights_of_the_first_token_are_the_first_row_of_the_attention(n_landmarks):
    tokens, of_q, of_k, of_v = draw(2, 12, 16), *draw(3, 4, 8, 16)
    q, k, v = ((tokens[:, None] @ weight.mT) for weight in (of_q, of_k, of_v))
    weights = weights_of_first(tokens, of_q, of_k, n_landmarks=n_landmarks)
    attended = nystrom_attention(q, k, v, n_landmarks=n_landmarks)
    torch.testing.assert_close((weights.unsqueeze(2) @ v).squeeze(2), attended[:, :, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_landmarks", [3, 8, 40])
@pytest.mark.parametrize("positions", [True, False])
def test_the_class_token_alone_is_that_of_all_tokens_in_training_too(n_landmarks, positions):
    """Values, dropout, gradients: through landmarks, exactly, and with fewer tokens than the kernel reaches."""
    torch.manual_seed(0)
    sizes = {"heads": 2, "n_landmarks": n_landmarks, "dropout": 0.3, "positions": positions}
    transformer = NystromTransformer(8, **sizes).double().train()
    bag = draw(2, 12 if n_landmarks == 40 else 31, 8).double()
    found = []
    for call in (transformer.forward, transformer.of_class):
        torch.manual_seed(1)
        transformer.zero_grad()
        token = call(bag)[0]
        token.square().sum().backward()
        grads = {name: parameter.grad for name, parameter in transformer.named_parameters()}
        found.append((token.detach(), grads, torch.rand(1)))  # the generator goes on from the same state
    (token, grads, next_draw), (expected, expected_grads, expected_draw) = found
    torch.testing.assert_close(token, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(next_draw, expected_draw)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected_grads[name], rtol=1e-4, atol=1e-5)


def test_position_encoding_is_the_sum_of_three_convolutions_and_the_tokens():
    encode = PPEG(4)
    tokens = draw(2, 25, 4)
    square = tokens.mT.reshape(2, 4, 5, 5)
    expected = square + sum(
        functional.conv2d(square, c.weight, c.bias, padding=c.kernel_size[0] // 2, groups=4)
        for c in encode.convolutions
    )
    torch.testing.assert_close(encode(tokens), expected.flatten(2).mT)


def test_a_bag_is_filled_up_to_a_square_with_its_first_patches():
    torch.manual_seed(0)
    transformer = NystromTransformer(8, heads=2, n_landmarks=4, dropout=0.0, positions=True).eval()
    bag = draw(2, 7, 8)
    filled = torch.cat([bag, bag[:, :2]], dim=1)
    (token, tokens), (expected, expected_tokens) = transformer(bag), transformer(filled)
    (_, attention), (_, whole) = transformer.of_class(bag), transformer.of_class(filled)
    assert torch.equal(token, expected) and torch.equal(tokens, expected_tokens) and tokens.shape == (2, 9, 8)
    # The two that stand twice have the weight of both.
    folded = torch.cat([whole[:, :2] + whole[:, 7:], whole[:, 2:7]], dim=1)
    torch.testing.assert_close(attention, folded)


@pytest.mark.parametrize(
    ("weights", "expected"), [([1.0, 2, 3, 2], [0.375, 0.25, 0.375]), ([1.0, -2, 3, 0], [0.25, 0, 0.75])]
)
def test_weights_of_repeated_patches_add_up_and_none_is_negative(weights, expected):
    assert weights_of_patches(torch.tensor([weights]), 3)[0].tolist() == expected
