"""Whether the network is in reach, asked once with a time limit."""

import os
import threading
import urllib.error
import urllib.request

from huggingface_hub import constants

PROBE_SECONDS = 3.0


def hub_reachable(seconds: float = PROBE_SECONDS) -> bool:
    """Whether the hub answers at all within `seconds`; False at once when offline mode is on.

    The probe runs in a thread because a name look-up does not keep to a socket's time limit.
    """
    datasets_offline = os.environ.get("HF_DATASETS_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if constants.HF_HUB_OFFLINE or datasets_offline:
        return False
    answers: list[bool] = []

    def probe() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=seconds).close()
            answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)  # a refusal is an answer too
        except (OSError, ValueError):
            answers.append(False)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])
