"""Who is it?  A large face-recognition network teaches a small one: data sets, triplets, distillation, measurement."""
