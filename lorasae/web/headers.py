"""What a browser may do with the lab's answers: no script, style, picture or request from or to anywhere else."""

from lorasae.identity import Access

_POLICY = (
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio's templates are compiled in the browser
    "style-src 'self' 'unsafe-inline'",
    "connect-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "worker-src 'self' blob:",
    "frame-src https://www.neuronpedia.org https://neuronpedia.org",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
)
_HOSTED_IN = "https://huggingface.co"  # which shows a Space in a frame


def security_headers(access: Access) -> dict[str, str]:
    """The headers of every answer."""
    ancestors = f"frame-ancestors 'self' {_HOSTED_IN}" if access != "local" else "frame-ancestors 'self'"
    return {
        "content-security-policy": "; ".join((*_POLICY, ancestors)),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
