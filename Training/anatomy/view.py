"""Which part of a body a scan shows."""

import numpy as np

REGION_SHARES = {"neck": 0.24, "chest": 0.2, "abdomen": 0.2, "pelvis": 0.18, "trunk": 0.18}
"""How often a region is drawn: heads and pelves are given more room than in a hospital's archive."""

WIDEST_MM = 420.0


def draw_view(rng, region: str | None, body: dict, scale: float, fat: float):
    """Draw the scanned box: region, lower corner and upper corner (3,) in world mm."""
    if region is None:
        region = str(rng.choice(list(REGION_SHARES), p=list(REGION_SHARES.values())))
    z_of = {v.name: v.center[2] for v in body["vertebrae"]}
    head, uniform = body["head"], rng.uniform
    vertex = head.to_world(head.vault_center + np.array([0, 0, head.vault_axes[2]]))[2]
    lowest_thoracic = min(z for name, z in z_of.items() if name[0] == "T")
    lowest_lumbar = min(z for name, z in z_of.items() if name[0] == "L")
    low, high = {
        "neck": (z_of["T1"] - uniform(10, 90), vertex + 12 if rng.random() < 0.45 else z_of["C1"] + uniform(15, 110)),
        "chest": (lowest_thoracic - uniform(-50, 60), z_of["C7"] + uniform(-30, 60)),
        "abdomen": (uniform(-100, -10), lowest_thoracic + uniform(10, 110)),
        "pelvis": (-uniform(150, 240) * scale, lowest_lumbar + uniform(5, 130)),
        "trunk": (-uniform(0, 230) * scale, z_of["C7"] + uniform(-60, 40)),
        "whole": (-250 * scale, vertex + 15),
    }[region]
    tight = region != "whole" and rng.random() < 0.12
    if tight:
        high = low + max(110.0, (high - low) * uniform(0.4, 0.8))
    xs = [v.center[:2] for v in (*body["vertebrae"], *body["sacrum"]) if low - 20 < v.center[2] < high + 20]
    x, y = np.mean(xs, axis=0)
    sternum = body["sternum"][:, 1].max()
    if tight:
        half, behind, before = uniform(55, 110), uniform(70, 110), uniform(45, 120)
    elif region == "neck":
        half = uniform(85, 210)
        occiput = head.to_world(head.vault_center - np.array([0, head.vault_axes[1], 0]))
        behind = max(75.0, y - occiput[1]) + uniform(0, 40)
        before = max(60.0, head.to_world(np.array([0, 95.0, -30.0]) * head.scale)[1] - y) + uniform(-10, 40)
    else:
        half = min(WIDEST_MM / 2, uniform(165, 215))
        behind = uniform(82, 100) + 0.8 * fat + uniform(0, 30)
        before = max(sternum - y + 35, uniform(120, 165)) + 1.3 * fat
    center = np.array([x * uniform(0.3, 1.0) + rng.normal(0, 5), 0.0])
    lo = np.array([center[0] - half, y - behind, low])
    hi = np.array([center[0] + half, y + min(before, WIDEST_MM - behind), high])
    return region, lo, hi
