"""Who sees a repository that was there before something was published into it: what was wished, or said that it is not so."""

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from lorasae.publishing.push import Target


def show_as_wished(api: HfApi, target: Target) -> str:
    """Make a private repository public if that was wished; a public one is never hidden. What is not as it was, or not as wished, in words.

    Args:
        api: A client with the author's token.
        target: A repository that holds what was published.

    Raises:
        HfHubHTTPError, OSError: What the Hub or the network had to say when it was asked; a refused change is told.
    """
    is_private = bool(api.model_info(target.repo_id).private)
    if is_private == target.private:
        return ""
    if target.private:
        return "The repository was there already and everybody can see it; it was left so."
    try:
        api.update_repo_settings(target.repo_id, private=False)
    except HfHubHTTPError:
        page = f"{api.endpoint}/{target.repo_id}/settings"
        return f"The repository was there already and is still private: the Hub did not let it be changed from here. Change it at {page}"
    return "The repository was there already and was private; now everybody can see it, as you chose."
