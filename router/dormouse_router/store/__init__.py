"""What is kept between requests. `keeping` has the protocols; the folder's modules fulfil them."""
