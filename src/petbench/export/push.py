"""Push a written folder to the hub by the hub's own client; its failures become errors in plain words."""

from pathlib import Path
from typing import Any

from petbench.errors import RunError, UserError


def push(folder: Path, repo: str, api: Any = None) -> str:
    """Create the repository if it is not there, and upload the folder as one commit; returns where it is.

    Raises UserError for a bad name, a missing or refused token and an offline client, RunError when the hub is not in
    reach or fails. The folder stays in any case.
    """
    from huggingface_hub import HfApi  # takes most of a second
    from huggingface_hub.errors import (  # takes most of a second
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    api = api or HfApi()
    stays = f"{folder} is written and stays."
    try:
        api.create_repo(repo, exist_ok=True)
        done = api.upload_folder(folder_path=folder, repo_id=repo, commit_message="petbench: model and card")
    except OfflineModeIsEnabled as error:
        raise UserError(f"--push: HF_HUB_OFFLINE is set, so nothing is sent. Unset it. {stays}") from error
    except HFValidationError as error:
        raise UserError(f"--push: got {repo!r}. Legal: owner/name. {stays}") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"--push: there is no token. `hf auth login`, or set HF_TOKEN. {stays}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise UserError(
                f"--push: the hub refused the token (401). `hf auth login`, or set HF_TOKEN. {stays}"
            ) from error
        if status == 403:
            raise UserError(
                f"--push: the token may not write to {repo} (403). Use one with write access, or another repository. "
                f"{stays}"
            ) from error
        raise RunError(f"--push: the hub answered {status}. Try again. {stays}") from error
    except Exception as error:  # of whichever HTTP library this release of the client uses
        raise RunError(
            f"--push: the hub is not in reach ({type(error).__name__}). Try again. {stays}"
        ) from error
    return str(done.commit_url)
