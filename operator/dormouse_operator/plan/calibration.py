"""How the texts of spec.calibration come into the quantize Job: volume, mount and what it is told. Pure."""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.calibration import Calibration, CalibrationConfig
from dormouse_operator.plan.common import Object

FILE = "texts.jsonl"


@dataclass(frozen=True)
class Texts:
    """Parts of the Job's pod."""

    config: CalibrationConfig
    volume: Object
    mount: Object


def texts(wanted: Calibration | None) -> Texts | None:
    """None without calibration."""
    if wanted is None:
        return None
    volume: Object = {"name": "calibration"}
    file = FILE
    if wanted.config_map is not None:
        items = [{"key": wanted.config_map.key, "path": FILE}]
        volume["configMap"] = {"name": wanted.config_map.name, "items": items}
    elif wanted.claim is not None:
        file = wanted.claim.path
        volume["persistentVolumeClaim"] = {"claimName": wanted.claim.name, "readOnly": True}
    config = CalibrationConfig(
        file=f"{names.CALIBRATION_DIR}/{file}",
        algorithm=wanted.algorithm,
        samples=wanted.samples,
        max_tokens=wanted.max_tokens,
    )
    mount: Object = {"name": "calibration", "mountPath": names.CALIBRATION_DIR, "readOnly": True}
    return Texts(config, volume, mount)
