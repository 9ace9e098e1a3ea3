"""Corners of the layers for one to three spatial dimensions, beside image_rows.py: what is
unbatched, cut, uneven, tracked, or asked for by a factor."""

from __future__ import annotations

from tests.modules.rows import Row

CONVOLUTIONS = [
    Row("conv1d_unbatched", lambda nn: nn.Conv1d(3, 4, 3, dilation=2), (3, 9)),
    Row("conv1d_valid", lambda nn: nn.Conv1d(3, 4, 3, 2, "valid"), (2, 3, 9)),
    Row("conv3d_stride", lambda nn: nn.Conv3d(2, 4, (2, 3, 1), 2, groups=2), (1, 2, 4, 5, 3)),
    Row("conv3d_unbatched", lambda nn: nn.Conv3d(2, 3, 2, bias=False), (2, 3, 3, 3)),
    Row(
        "conv1d_reflect",
        lambda nn: nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"),
        (2, 2, 6),
    ),
    Row(
        "conv2d_reflect",
        lambda nn: nn.Conv2d(2, 3, 3, 2, (1, 2), padding_mode="reflect"),
        (2, 2, 5, 6),
    ),
    Row(
        "conv2d_replicate_same",
        lambda nn: nn.Conv2d(2, 3, (2, 4), padding="same", padding_mode="replicate"),
        (2, 5, 6),
    ),
    Row(
        "conv2d_circular",
        lambda nn: nn.Conv2d(2, 3, 3, padding=(0, 2), padding_mode="circular"),
        (1, 2, 5, 6),
    ),
    Row(
        "conv3d_circular",
        lambda nn: nn.Conv3d(1, 2, 3, padding=1, padding_mode="circular"),
        (1, 1, 3, 3, 4),
    ),
    Row("transpose1d_stride", lambda nn: nn.ConvTranspose1d(3, 4, 4, 2, 1), (3, 5)),
    Row(
        "transpose2d_groups",
        lambda nn: nn.ConvTranspose2d(4, 6, 2, 2, groups=2, dilation=(1, 3)),
        (1, 4, 3, 3),
    ),
]

PADDINGS = [
    Row("zero_pad2d", lambda nn: nn.ZeroPad2d((1, 2, 0, -1)), (2, 3, 4, 5)),
    Row("reflection_pad1d_cut", lambda nn: nn.ReflectionPad1d((-1, 2)), (3, 4)),
    Row("replication_pad2d", lambda nn: nn.ReplicationPad2d((1, -2, 2, 0)), (2, 3, 4, 5)),
    Row("circular_pad2d", lambda nn: nn.CircularPad2d((2, 1, -1, 2)), (2, 2, 4, 3)),
]

NORMS = [
    Row("batchnorm2d_no_bias", lambda nn: nn.BatchNorm2d(3, bias=False), (2, 3, 2, 3)),
    Row(
        "instancenorm2d_tracked",
        lambda nn: nn.InstanceNorm2d(3, 1e-3, 0.3, True, True),
        (2, 3, 4, 3),
    ),
    Row(
        "instancenorm2d_tracked_unbatched",
        lambda nn: nn.InstanceNorm2d(3, track_running_stats=True),
        (3, 4, 3),
    ),
]

POOLINGS = [
    Row("maxpool1d_unbatched", lambda nn: nn.MaxPool1d(2, ceil_mode=True), (3, 7)),
    Row("maxpool3d_dilation", lambda nn: nn.MaxPool3d((1, 2, 2), 2, (0, 1, 0), 2), (2, 3, 5, 5)),
    Row("avgpool1d_ceil", lambda nn: nn.AvgPool1d(3, 2, 1, True, False), (3, 8)),
    Row(
        "avgpool3d_ceil",
        lambda nn: nn.AvgPool3d((2, 3, 1), 2, (1, 1, 0), True, False),
        (2, 4, 4, 3),
    ),
    Row("avgpool3d_divisor", lambda nn: nn.AvgPool3d(2, divisor_override=5), (1, 2, 4, 3, 4)),
    Row("adaptive_avg_3d", lambda nn: nn.AdaptiveAvgPool3d((2, None, 3)), (1, 2, 4, 3, 5)),
    Row("adaptive_avg_unbatched", lambda nn: nn.AdaptiveAvgPool1d(1), (3, 5)),
    Row("adaptive_max_divides", lambda nn: nn.AdaptiveMaxPool2d((2, 3)), (2, 3, 6, 6)),
    Row("adaptive_max_uneven", lambda nn: nn.AdaptiveMaxPool2d((3, None)), (3, 7, 5)),
    Row("adaptive_max_grow", lambda nn: nn.AdaptiveMaxPool2d(5), (1, 2, 3, 4)),
    Row("lppool2d_ceil", lambda nn: nn.LPPool2d(2.0, (2, 3), 2, True), (3, 5, 6)),
]

REARRANGEMENTS = [
    Row("unfold_options", lambda nn: nn.Unfold(2, (1, 2), (1, 0), 2), (3, 5, 6)),
    Row("fold_options", lambda nn: nn.Fold((5, 6), 2, (1, 2), (1, 0), 2), (12, 6)),
    Row("flatten_some", lambda nn: nn.Flatten(0, 1), (2, 3, 4)),
    Row("unflatten_last", lambda nn: nn.Unflatten(-1, (2, -1)), (3, 6)),
]

RESIZES = [
    Row("nearest_1d", lambda nn: nn.Upsample(7), (2, 3, 4)),
    Row("nearest_double", lambda nn: nn.Upsample(scale_factor=2), (2, 3, 4, 3)),
    Row("nearest_factor", lambda nn: nn.Upsample(scale_factor=(1.7, 0.6)), (2, 3, 5, 6)),
    Row("nearest_3d", lambda nn: nn.Upsample((3, 4, 2)), (1, 2, 2, 3, 4)),
    Row("linear_factor", lambda nn: nn.Upsample(scale_factor=1.5, mode="linear"), (2, 3, 5)),
    Row(
        "linear_aligned",
        lambda nn: nn.Upsample(7, mode="linear", align_corners=True),
        (2, 3, 5),
    ),
    Row("bilinear_double", lambda nn: nn.Upsample(None, 2, "bilinear"), (2, 3, 4, 3)),
    Row("bilinear_factor", lambda nn: nn.Upsample(None, (2.3, 0.7), "bilinear"), (1, 2, 4, 5)),
    Row(
        "bilinear_recomputed",
        lambda nn: nn.Upsample(None, 2.3, "bilinear", recompute_scale_factor=True),
        (1, 2, 4, 5),
    ),
    Row("bilinear_one", lambda nn: nn.Upsample((1, 6), None, "bilinear", True), (1, 2, 4, 1)),
    Row(
        "trilinear_aligned",
        lambda nn: nn.Upsample((3, 2, 5), None, "trilinear", True),
        (1, 2, 2, 3, 2),
    ),
]

SPATIAL = [*CONVOLUTIONS, *PADDINGS, *NORMS, *POOLINGS, *REARRANGEMENTS, *RESIZES]
