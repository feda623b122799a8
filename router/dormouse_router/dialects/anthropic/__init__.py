"""Anthropic's Messages API: its wire shapes in and out. What is served, held and woken is the gateway's business."""
